IMAGE=@IMAGE@
OPTIONS=(
@OPTIONS@)
COMMAND=(
@COMMAND@)
# Stands for image name, options and command in a label of the container.
MADE_FROM=@MADE_FROM@

# Whether the container can be used again: same device directory, same description, same image. Names are exact.
is_current() {
    local made image
    made=$(docker container inspect --format \
        '{{range .Mounts}}{{if eq .Destination "/usr/share/sonic/hwsku"}}{{.Source}}{{end}}{{end}}|{{index .Config.Labels "switchyard.made-from"}}|{{.Image}}' \
        "$NAME" 2>/dev/null) || return
    # An image that is gone makes nothing stale: what was made from it is all there is.
    image=$(docker image inspect --format '{{.Id}}' "$IMAGE" 2>/dev/null) || image=${made##*|}
    [ "$made" = "$HWSKU_DIR|$MADE_FROM|$image" ]
}

create() {
    local asic file
    local options=(
        --name "$NAME" --label "switchyard.made-from=$MADE_FROM"
        --uts=host --tmpfs /var/log/supervisor:rw --log-opt max-size=2M --log-opt max-file=5
        -v "/host/warmboot$DEV:/var/warmboot"
        -v "/var/run/redis$DEV:/var/run/redis:rw" -v /var/run/redis-chassis:/var/run/redis-chassis:ro
        -e RUNTIME_OWNER=local
        -e "NAMESPACE_ID=$DEV" -e NAMESPACE_PREFIX=asic -e "NAMESPACE_COUNT=$NUM_ASIC" -e "DEV=$DEV"
        -e "CONTAINER_NAME=$NAME" -e "SYSLOG_TARGET_IP=$SYSLOG_TARGET_IP" -e "PLATFORM=$PLATFORM"
    )
@NETWORK@
    # The host's instance on a switch with several ASICs sees the databases of all.
    if [ -z "$DEV" ] && [ "$NUM_ASIC" -gt 1 ]; then
        for ((asic = 0; asic < NUM_ASIC; asic++)); do
            options+=(-v "/var/run/redis$asic:/var/run/redis$asic:rw")
        done
    fi
    # Docker would make an empty directory of each source that does not exist.
    [ -z "$HWSKU_DIR" ] || options+=(-v "$HWSKU_DIR:/usr/share/sonic/hwsku:ro")
    [ ! -d "$DEVICE_DIR" ] || options+=(-v "$DEVICE_DIR:/usr/share/sonic/platform:ro")
    for file in /etc/fips/fips_enable /usr/share/sonic/templates/rsyslog-container.conf.j2; do
        [ ! -f "$file" ] || options+=(-v "$file:$file:ro")
    done
    # A start never fetches an image: it would wait for a registry out of reach, or take a stranger's of the same name.
    docker create --pull never "${options[@]}" "${OPTIONS[@]}" "$IMAGE" "${COMMAND[@]}" >/dev/null
}

# Makes the container unless it is there as it should be. Without a local image a feature may still run from
# Kubernetes: then `container start` decides, and only if it cannot start anything the missing image is the failure.
ensure_container() {
    is_current && return
    if docker container inspect "$NAME" >/dev/null 2>&1; then
        docker stop -t "$STOP_TIMEOUT" "$NAME" >/dev/null
        docker rm -f "$NAME" >/dev/null
    fi
    if create; then
        configure_syslog
        return
    fi
    echo "$FEATURE.sh: cannot create container $NAME from image $IMAGE" >&2
    [ "$(host_db CONFIG_DB hget "FEATURE|$FEATURE" set_owner)" = kube ] || exit 4
    CREATE_FAILED=4
}

# On a switch with several ASICs rsyslog inside sends over the bridge, under the container's own name.
configure_syslog() {
    local file template=/usr/share/sonic/templates/rsyslog-container.conf.j2
    [ "$NUM_ASIC" -gt 1 ] && [ -r "$template" ] || return 0
    file=$(mktemp) || return 0
    if sonic-cfggen -t "$template" -a "{\"target_ip\": \"$SYSLOG_TARGET_IP\", \"container_name\": \"$NAME\"}" >"$file"; then
        docker cp "$file" "$NAME:/etc/rsyslog.conf" >/dev/null
    fi
    rm -f "$file"
}

# The container has the name servers of the time it was made; SONiC's own script renews them. Not worth a failure.
follow_resolver() {
    local update=/etc/resolvconf/update-libc.d/update-containers
    [ ! -x "$update" ] || timeout 10 "$update" "$NAME" >/dev/null 2>&1 || true
}
