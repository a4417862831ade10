#!/bin/sh
# As in the official nats image: flags alone are the server's, anything else is a command.
set -e

if [ "$#" -eq 0 ] || [ "${1#-}" != "$1" ]; then
    set -- nats-server "$@"
fi

exec "$@"
