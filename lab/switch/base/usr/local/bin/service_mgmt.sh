#!/bin/bash
# {start|wait|stop} [DEV] of the feature in whose name this is called: /usr/local/bin/<f>.sh is a link to it
# (SONIC.md 6.1). Its one rule: in a warm or fast reboot containers are killed, not stopped.

feature=$(basename "$0" .sh)
verb=$1
DEV=$2

enabled() {
    [ "$(sonic-db-cli ${DEV:+-n asic$DEV} STATE_DB HGET "$1" enable)" = true ]
}

case $verb in
    start | wait)
        exec "/usr/bin/$feature.sh" "$verb" $DEV
        ;;
    stop)
        if enabled 'WARM_RESTART_ENABLE_TABLE|system' || enabled "WARM_RESTART_ENABLE_TABLE|$feature" ||
            enabled 'FAST_RESTART_ENABLE_TABLE|system'; then
            exec "/usr/bin/$feature.sh" kill $DEV
        fi
        exec "/usr/bin/$feature.sh" stop $DEV
        ;;
    *)
        echo "Usage: $0 {start|wait|stop}"
        exit 1
        ;;
esac
