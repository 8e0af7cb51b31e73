# Sourced by /usr/bin/<f>.sh, which sets FEATURE and may set RUN_OPTIONS, preStartAction and postStartAction.
# Written to SONIC.md 6.2 and 6.3: on a real switch this text is repeated in each script by docker_image_ctl.j2.
# Left out: FIPS, rsyslog and chassis mounts, which nothing here reads. There being no database container, a per-ASIC
# container shares the host's network instead of database<N>'s.

[ -f /etc/sonic/sonic-environment ] && . /etc/sonic/sonic-environment

verb=$1
DEV=$2
DOCKERNAME=$FEATURE$DEV
PLATFORM=${PLATFORM:-$(sed -n 's/^onie_platform=//p' /host/machine.conf)}
NUM_ASIC=1
[ -f "/usr/share/sonic/device/$PLATFORM/asic.conf" ] && . "/usr/share/sonic/device/$PLATFORM/asic.conf"
declare -a RUN_OPTIONS
declare -F preStartAction > /dev/null || preStartAction() { :; }
declare -F postStartAction > /dev/null || postStartAction() { :; }

getBootType() {
    case "$(cat /proc/cmdline)" in
        *SONIC_BOOT_TYPE=warm*) echo warm ;;
        *SONIC_BOOT_TYPE=fastfast*) echo fastfast ;;
        *SONIC_BOOT_TYPE=express*) echo express ;;
        *SONIC_BOOT_TYPE=fast* | *fast-reboot*) echo fast ;;
        *) echo cold ;;
    esac
}

start() {
    local boot_type mount_path mounted
    boot_type=$(getBootType)
    mount_path=/usr/share/sonic/device/$PLATFORM/$HWSKU${DEV:+/$DEV}
    if mounted=$(docker inspect --type container \
        --format '{{range .Mounts}}{{if eq .Destination "/usr/share/sonic/hwsku"}}{{.Source}}{{end}}{{end}}' \
        "$DOCKERNAME" 2> /dev/null); then
        if [ "$mounted" = "$mount_path" ]; then
            echo "Starting existing $DOCKERNAME container with HWSKU $HWSKU (boot $boot_type)"
            preStartAction
            /usr/local/bin/container start "$DOCKERNAME"
            postStartAction
            exit $?
        fi
        echo "Removing obsolete $DOCKERNAME container with HWSKU $HWSKU"
        docker rm -f "$DOCKERNAME"
    fi
    echo "Creating new $DOCKERNAME container with HWSKU $HWSKU (boot $boot_type)"

    local -a namespaces=()
    if [ -z "$DEV" ] && [ "$NUM_ASIC" -gt 1 ]; then
        local asic
        for ((asic = 0; asic < NUM_ASIC; asic++)); do
            namespaces+=(-v "/var/run/redis$asic:/var/run/redis$asic:rw")
        done
    fi
    docker create "${RUN_OPTIONS[@]}" \
        -v "/host/warmboot$DEV:/var/warmboot" \
        --net=host \
        -e RUNTIME_OWNER=local \
        --uts=host \
        --log-opt max-size=2M --log-opt max-file=5 \
        --tmpfs /var/log/supervisor:rw \
        -v "/var/run/redis$DEV:/var/run/redis:rw" \
        "${namespaces[@]}" \
        -v "$mount_path:/usr/share/sonic/hwsku:ro" \
        -v "/usr/share/sonic/device/$PLATFORM:/usr/share/sonic/platform:ro" \
        -v /run/payload:/run/payload \
        -e "NAMESPACE_ID=$DEV" \
        -e NAMESPACE_PREFIX=asic \
        -e "NAMESPACE_COUNT=$NUM_ASIC" \
        -e "DEV=$DEV" \
        -e "CONTAINER_NAME=$DOCKERNAME" \
        -e "PLATFORM=$PLATFORM" \
        --name="$DOCKERNAME" \
        "docker-$FEATURE:latest" > /dev/null || {
        echo "Failed to docker create $DOCKERNAME"
        exit 4
    }
    preStartAction
    /usr/local/bin/container start "$DOCKERNAME"
    postStartAction
}

stop() {
    # A substring match among running containers, as shipped: it also finds a pod's k8s_<f>_… and <f>0.
    if [ -z "$(docker ps --quiet --filter "name=$DOCKERNAME")" ]; then
        echo "Container $DOCKERNAME is not running"
        return 0
    fi
    echo "Stopping $DOCKERNAME container"
    /usr/local/bin/container stop "$DOCKERNAME"
}

case $verb in
    start) start ;;
    wait) /usr/local/bin/container wait "$DOCKERNAME" ;;
    stop) stop ;;
    kill) /usr/local/bin/container kill "$DOCKERNAME" ;;
    *)
        echo "Usage: $0 {start|wait|stop|kill} [DEV]"
        exit 1
        ;;
esac
