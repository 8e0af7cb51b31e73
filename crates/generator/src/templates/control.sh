#!/bin/bash
@HEADER@
#
# The life of the container of feature @FEATURE@, as its unit and reboot scripts drive it. Which image runs it, the one
# on this switch or the one from Kubernetes, is for `container` to decide.

FEATURE=@FEATURE@
VERB=${1:-}
DEV=${2:-}
NAME=$FEATURE$DEV
STOP_TIMEOUT=@STOP_TIMEOUT@
CREATE_FAILED=

fail() { # CODE TEXT...
    echo "$FEATURE.sh: ${*:2}" >&2
    exit "$1"
}

# Asks a database of the host: host_db DATABASE COMMAND...
host_db() { sonic-db-cli "$@" 2>/dev/null; }

# What the switch is; the hooks may use these names.
learn_switch() {
    local file word words
    BOOT_TYPE=cold
    read -r -a words </proc/cmdline
    for word in "${words[@]}"; do
        case $word in
            SONIC_BOOT_TYPE=warm) BOOT_TYPE=warm ;;
            SONIC_BOOT_TYPE=fastfast) BOOT_TYPE=fastfast ;;
            SONIC_BOOT_TYPE=express) BOOT_TYPE=express ;;
            SONIC_BOOT_TYPE=fast | fast-reboot) BOOT_TYPE=fast ;;
        esac
    done
    [ ! -r /etc/sonic/sonic-environment ] || . /etc/sonic/sonic-environment
    PLATFORM=${PLATFORM:-$(host_db CONFIG_DB hget 'DEVICE_METADATA|localhost' platform)}
    # The row wins: an operator may have changed the SKU since the file was written.
    word=$(host_db CONFIG_DB hget 'DEVICE_METADATA|localhost' hwsku)
    HWSKU=${word:-${HWSKU:-}}
    NUM_ASIC=1
    DEVICE_DIR=
    HWSKU_DIR=
    if [ -n "$PLATFORM" ]; then
        DEVICE_DIR=/usr/share/sonic/device/$PLATFORM
        for file in "$DEVICE_DIR"/asic.conf "$DEVICE_DIR"/platform_env.conf; do
            [ ! -r "$file" ] || . "$file"
        done
        file=$DEVICE_DIR/$HWSKU${DEV:+/$DEV}
        [ -z "$HWSKU" ] || [ ! -d "$file" ] || HWSKU_DIR=$file
    fi
    # Inside a namespace the host's syslog is reached over Docker's bridge.
    SYSLOG_TARGET_IP=127.0.0.1
    if [ "$NUM_ASIC" -gt 1 ]; then
        SYSLOG_TARGET_IP=$(docker network inspect bridge --format '{{(index .IPAM.Config 0).Gateway}}')
    fi
}

@CONTAINER@

# The answer of the engine is waited for even when systemd stops the unit meanwhile: a call cut in the middle would
# leave a container that starts after it was stopped (sonic-buildimage #29702). ExecStopPost then stops it.
start_container() {
    (
        trap '' TERM
        exec container start "$NAME"
    )
}

# Each hook line is a command of its own, so that a broken one fails the start and nothing else.
@HOOKS@

start() {
    # A unit that is stopped while it starts has not failed; with another code systemd would call it so.
    trap 'exit 0' TERM
    learn_switch
    ensure_container
    pre_start || fail 1 "pre_start failed, $NAME was not started"
    start_container || fail "${CREATE_FAILED:-$?}" "container start $NAME failed"
    follow_resolver
    post_start || fail 1 "post_start failed, $NAME is stopped again"
}

case $DEV in
    *[!0-9]*) fail 1 "'$DEV' is not the number of an ASIC" ;;
@DEV_RULE@esac

case $VERB in
    start) start ;;
    wait) exec container wait "$NAME" ;;
    # Called whether or not a container runs: after a crash it is this call that makes the row say so.
    stop) exec container stop -t "$STOP_TIMEOUT" "$NAME" ;;
    kill) exec container kill "$NAME" ;;
    *)
        echo "Usage: /usr/bin/$FEATURE.sh {start|wait|stop|kill} [DEV]" >&2
        exit 1
        ;;
esac
