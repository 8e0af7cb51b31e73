#!/bin/bash
# The control script of telemetry; all that features share is in docker_image_ctl.sh.
FEATURE=telemetry
. /usr/lib/lab/docker_image_ctl.sh
