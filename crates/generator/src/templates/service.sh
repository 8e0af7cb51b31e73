#!/bin/bash
@HEADER@
#
# What the unit of feature @FEATURE@ calls. During a warm or fast reboot the container is killed instead of stopped:
# its last words would tear down what the reboot is meant to keep.

VERB=${1:-}
DEV=${2:-}

is_flagged() { # KEY: whether enable is true in that row of the instance's STATE_DB
    [ "$(sonic-db-cli ${DEV:+-n "asic$DEV"} STATE_DB hget "$1" enable 2>/dev/null)" = true ]
}

case $VERB in
    start | wait) exec /usr/bin/@FEATURE@.sh "$VERB" ${DEV:+"$DEV"} ;;
    stop)
        if is_flagged 'WARM_RESTART_ENABLE_TABLE|system' || is_flagged 'WARM_RESTART_ENABLE_TABLE|@FEATURE@' ||
            is_flagged 'FAST_RESTART_ENABLE_TABLE|system'; then
            VERB=kill
        fi
        exec /usr/bin/@FEATURE@.sh "$VERB" ${DEV:+"$DEV"}
        ;;
    *)
        echo "Usage: /usr/local/bin/@FEATURE@.sh {start|wait|stop} [DEV]" >&2
        exit 1
        ;;
esac
