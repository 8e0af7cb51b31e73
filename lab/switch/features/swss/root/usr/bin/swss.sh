#!/bin/bash
# The control script of swss; all that features share is in docker_image_ctl.sh.
FEATURE=swss
. /usr/lib/lab/docker_image_ctl.sh
