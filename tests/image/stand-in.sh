#!/bin/bash
# In the bridge's place in a sandbox on this machine: hands what the gateway tells its bridge over to
# a container with the same home, as a file of variables, and waits.
umask 077
{
    echo "SHELLGATE_SESSION=$SHELLGATE_SESSION"
    echo "SHELLGATE_LAUNCH=$SHELLGATE_LAUNCH"
    echo "SHELLGATE_TOKEN=$(cat <&"$SHELLGATE_TOKEN_FD")"
} >.unfinished
mv .unfinished .task
exec sleep 600
