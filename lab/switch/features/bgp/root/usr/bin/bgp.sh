#!/bin/bash
# The control script of bgp; all that features share is in docker_image_ctl.sh.
FEATURE=bgp
. /usr/lib/lab/docker_image_ctl.sh
