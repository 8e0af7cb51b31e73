#!/bin/bash
# The control script of sflow; all that features share is in docker_image_ctl.sh.
FEATURE=sflow
. /usr/lib/lab/docker_image_ctl.sh
