#!/bin/bash
# The control script of lldp; all that features share is in docker_image_ctl.sh.
FEATURE=lldp
. /usr/lib/lab/docker_image_ctl.sh
