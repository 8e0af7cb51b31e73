# Put in front of each maintainer script that needs it: how Switchyard takes the place of SONiC's files, and gives it
# back. Everything may be done twice, and dpkg may be killed between any two commands.
#
# What belongs in /usr/local is linked here instead of shipped in the archive: dpkg would remove the file some time
# before it could be restored, and on the way also directories that it believes to be ours.

CONTAINER=/usr/local/bin/container
# SONiC's reboot scripts call it where it is there: it takes along the images that Kubernetes brought.
TOOLS=/usr/local/bin/ctrmgr_tools.py
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

# Puts ours in the place of a program of SONiC's, which is kept beside it.
take_place() { # PROGRAM
    # Also for packages to come: one that brings a program of this name gets its file put where the original is.
    dpkg-divert --local --quiet --no-rename --divert "$1.sonic" --add "$1"
    if ! points_to "$1" /usr/bin/switchyard && [ -e "$1" -o -L "$1" ]; then
        cp -a -f "$1" "$1.sonic.switchyard-new"
        mv -f -T "$1.sonic.switchyard-new" "$1.sonic"
    fi
    mkdir -p "${1%/*}"
    place_link "$1" /usr/bin/switchyard
}

give_place_back() { # PROGRAM
    if [ -e "$1.sonic" -o -L "$1.sonic" ]; then
        if points_to "$1" /usr/bin/switchyard || [ ! -e "$1" ]; then
            mv -f -T "$1.sonic" "$1"
        else
            # Somebody put a newer one there since; the one we kept is out of date.
            rm -f "$1.sonic"
        fi
    elif points_to "$1" /usr/bin/switchyard; then
        rm -f "$1"
    fi
    rm -f "$1.switchyard-new" "$1.sonic.switchyard-new"
    if dpkg-divert --list "$1" | grep -q '^local diversion of '; then
        dpkg-divert --local --quiet --no-rename --divert "$1.sonic" --remove "$1"
    fi
}

take_over() {
    take_place "$CONTAINER"
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
        take_place "$TOOLS"
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
    give_place_back "$TOOLS"
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
    give_place_back "$CONTAINER"
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
    rm -f "$TECHSUPPORT.switchyard-new" "$MODEL.switchyard-new" "$TPC_MODEL.switchyard-new"
    # SONiC makes the directory when it needs it.
    rmdir "${TECHSUPPORT%/*}" 2>/dev/null || true
}
