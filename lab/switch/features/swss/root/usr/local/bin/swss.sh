#!/bin/bash
# swss has a script of its own, as on a real switch: what leans on it goes down with it and is brought back after it.
# The dependents stand in /etc/sonic/swss_dependent; those with a per-ASIC unit follow the swss of their ASIC.

verb=$1
DEV=$2

dependents() {
    local feature
    for feature in $(cat /etc/sonic/swss_dependent 2> /dev/null); do
        if [ -n "$DEV" ] && [ -e "/usr/lib/systemd/system/$feature@.service" ]; then
            echo "$feature@$DEV"
        else
            echo "$feature"
        fi
    done
}

in_warm_or_fast_reboot() {
    local table
    for table in WARM_RESTART_ENABLE_TABLE FAST_RESTART_ENABLE_TABLE; do
        [ "$(sonic-db-cli ${DEV:+-n asic$DEV} STATE_DB HGET "$table|system" enable)" != true ] || return 0
    done
    return 1
}

case $verb in
    start)
        exec /usr/bin/swss.sh start $DEV
        ;;
    wait)
        # Only those that featured has started in this boot: at boot the delayed ones are still to wait for the ports.
        for unit in $(dependents); do
            if [ "$(sonic-db-cli STATE_DB HGET "FEATURE|${unit%@*}" state)" = enabled ]; then
                systemctl start --no-block "$unit"
            fi
        done
        exec /usr/bin/swss.sh wait $DEV
        ;;
    stop)
        if in_warm_or_fast_reboot; then
            exec /usr/bin/swss.sh kill $DEV
        fi
        for unit in $(dependents); do systemctl stop "$unit"; done
        exec /usr/bin/swss.sh stop $DEV
        ;;
    *)
        echo "Usage: $0 {start|wait|stop} [DEV]"
        exit 1
        ;;
esac
