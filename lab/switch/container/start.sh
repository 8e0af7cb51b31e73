#!/bin/sh
# The start program of an image that asks at the door (SONIC.md 4.1), here also PID 1 in supervisord's place: the payload
# waits until the start-up call has ended, and a stop in that time is not ignored.
feature=$1
trap 'kill -TERM "$startup" 2> /dev/null; exit 143' TERM
/usr/share/sonic/scripts/container_startup.py -f "$feature" -o "${RUNTIME_OWNER:-kube}" -v "$IMAGE_VERSION" &
startup=$!
wait "$startup"
exec /usr/bin/lab-payload run "$feature"
