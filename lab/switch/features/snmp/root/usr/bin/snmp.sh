#!/bin/bash
# The control script of snmp; all that features share is in docker_image_ctl.sh.
FEATURE=snmp
. /usr/lib/lab/docker_image_ctl.sh
