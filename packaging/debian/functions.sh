# Put in front of each maintainer script that needs it: how Switchyard takes the place of SONiC's files, and gives it
# back. Everything may be done twice, and dpkg may be killed between any two commands.
#
# What belongs in /usr/local is linked here instead of shipped in the archive: dpkg would remove the file some time
# before it could be restored, and on the way also directories that it believes to be ours.

CONTAINER=/usr/local/bin/container
ORIGINAL=/usr/local/bin/container.sonic
TECHSUPPORT=/usr/local/bin/debug-dump/switchyard
MODEL=/usr/local/yang-models/sonic-feature-switchyard.yang
SHARE=/usr/share/switchyard
# What hands log lines to SONiC's event log, on images that have that.
RSYSLOG=/etc/rsyslog.d
EVENTS="switchyard_events.conf switchyard_regex.json"
EVENTS_MODEL=/usr/local/yang-models/sonic-events-switchyard.yang
# A unit in /etc counts instead of one of the same name in /lib, which is SONiC's and stays untouched.
AGENT=/etc/systemd/system/ctrmgrd.service
WANTED=/etc/systemd/system/sonic.target.wants/ctrmgrd.service
# Where SONiC's config and show look for plug-ins, and the Klish command tree of images that have one.
PLUGINS=/usr/local/lib/python3*/dist-packages
TPC_MODEL=/usr/local/yang-models/sonic-tpc.yang
KLISH=/usr/sbin/cli

# Whether the other variant (with or without Kubernetes) is about to have, or has, what this one gives up.
other_variant_stays() {
    case $(dpkg-query --show --showformat='${db:Status-Status}' @OTHER@ 2>/dev/null) in
        unpacked | half-configured | triggers-awaited | triggers-pending | installed) return 0 ;;
    esac
    return 1
}

points_to() { # LINK TARGET
    [ "$(readlink "$1" 2>/dev/null)" = "$2" ]
}

# Makes or replaces a link in one step: a unit that is started in this moment finds the old program or the new one.
place_link() { # LINK TARGET
    points_to "$1" "$2" && return
    ln -s -f -n "$2" "$1.switchyard-new"
    mv -f -T "$1.switchyard-new" "$1"
}

take_over() {
    # Also for packages to come: one that brings a `container` of its own gets its file put where the original is.
    dpkg-divert --local --quiet --no-rename --divert "$ORIGINAL" --add "$CONTAINER"
    if ! points_to "$CONTAINER" /usr/bin/switchyard && [ -e "$CONTAINER" -o -L "$CONTAINER" ]; then
        cp -a -f "$CONTAINER" "$ORIGINAL.switchyard-new"
        mv -f -T "$ORIGINAL.switchyard-new" "$ORIGINAL"
    fi
    mkdir -p /usr/local/bin
    place_link "$CONTAINER" /usr/bin/switchyard
    mkdir -p "${TECHSUPPORT%/*}"
    place_link "$TECHSUPPORT" "$SHARE/techsupport"
    # Where there are no models nobody reads ours.
    [ ! -d "${MODEL%/*}" ] || place_link "$MODEL" "$SHARE/yang/${MODEL##*/}"
    if [ -x /usr/bin/rsyslog_plugin ] && [ -d "$RSYSLOG" ]; then
        for file in $EVENTS; do
            place_link "$RSYSLOG/$file" "$SHARE/events/$file"
        done
        [ ! -d "${EVENTS_MODEL%/*}" ] || place_link "$EVENTS_MODEL" "$SHARE/yang/${EVENTS_MODEL##*/}"
    fi
    [ ! -d "${TPC_MODEL%/*}" ] || place_link "$TPC_MODEL" "$SHARE/yang/${TPC_MODEL##*/}"
    for program in config show; do
        for plugins in $PLUGINS/$program/plugins; do
            [ ! -d "$plugins" ] || place_link "$plugins/tpcm.py" "$SHARE/click/${program}_tpcm.py"
        done
    done
    if [ -d "$KLISH/command-tree" ]; then
        place_link "$KLISH/command-tree/tpcm.xml" "$SHARE/klish/tpcm.xml"
        place_link "$KLISH/tpcm_actioner.py" "$SHARE/klish/tpcm_actioner.py"
    fi
    # Only the variant with Kubernetes support has an agent.
    if [ -e "$SHARE/ctrmgrd.service" ]; then
        mkdir -p "${WANTED%/*}"
        place_link "$AGENT" "$SHARE/ctrmgrd.service"
        # Where SONiC's is wanted already, ours is.
        [ -L "$WANTED" ] || place_link "$WANTED" "$AGENT"
    else
        no_agent
    fi
}

no_agent() {
    ! points_to "$WANTED" "$AGENT" || rm -f "$WANTED"
    ! points_to "$AGENT" "$SHARE/ctrmgrd.service" || rm -f "$AGENT"
    rm -f "$AGENT.switchyard-new" "$WANTED.switchyard-new"
    rmdir "${WANTED%/*}" 2>/dev/null || true
}

# A systemd that runs follows: the agent that counts now, SONiC's or ours, runs if one ran, or if ours is new.
follow_agent() { # VERB
    [ -d /run/systemd/system ] || return 0
    systemctl daemon-reload 2>/dev/null || return 0
    systemctl --no-block "$1" ctrmgrd.service 2>/dev/null || true
}

# On a switch that runs, third-party containers can be installed from now on without a boot; what runs goes on.
follow_tpcm() {
    [ -d /run/systemd/system ] || return 0
    systemctl --no-block start tpcm.service tpcm-next-boot.path 2>/dev/null || true
}

give_back() {
    no_agent
    for file in $EVENTS; do
        ! points_to "$RSYSLOG/$file" "$SHARE/events/$file" || rm -f "$RSYSLOG/$file"
    done
    ! points_to "$EVENTS_MODEL" "$SHARE/yang/${EVENTS_MODEL##*/}" || rm -f "$EVENTS_MODEL"
    if [ -e "$ORIGINAL" -o -L "$ORIGINAL" ]; then
        if points_to "$CONTAINER" /usr/bin/switchyard || [ ! -e "$CONTAINER" ]; then
            mv -f -T "$ORIGINAL" "$CONTAINER"
        else
            # Somebody put a newer one there since; the one we kept is out of date.
            rm -f "$ORIGINAL"
        fi
    elif points_to "$CONTAINER" /usr/bin/switchyard; then
        rm -f "$CONTAINER"
    fi
    ! points_to "$TECHSUPPORT" "$SHARE/techsupport" || rm -f "$TECHSUPPORT"
    ! points_to "$TPC_MODEL" "$SHARE/yang/${TPC_MODEL##*/}" || rm -f "$TPC_MODEL"
    for program in config show; do
        for plugin in $PLUGINS/$program/plugins/tpcm.py; do
            ! points_to "$plugin" "$SHARE/click/${program}_tpcm.py" || rm -f "$plugin"
        done
    done
    for file in command-tree/tpcm.xml tpcm_actioner.py; do
        ! points_to "$KLISH/$file" "$SHARE/klish/${file##*/}" || rm -f "$KLISH/$file"
    done
    ! points_to "$MODEL" "$SHARE/yang/${MODEL##*/}" || rm -f "$MODEL"
    rm -f "$CONTAINER.switchyard-new" "$ORIGINAL.switchyard-new" "$TECHSUPPORT.switchyard-new" "$MODEL.switchyard-new" "$TPC_MODEL.switchyard-new"
    # SONiC makes the directory when it needs it.
    rmdir "${TECHSUPPORT%/*}" 2>/dev/null || true
    if dpkg-divert --list "$CONTAINER" | grep -q '^local diversion of '; then
        dpkg-divert --local --quiet --no-rename --divert "$ORIGINAL" --remove "$CONTAINER"
    fi
}
