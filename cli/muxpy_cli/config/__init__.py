"""Files in TOML: the options of one end or its users out, and every mistake with its place.

A configuration is for one end, and has the table [listen] or [connect]. Both are shown in full, with a comment on each
key, in examples/forwarder.

    [listen]            address (needed), insecure, tokens, allow, allow-bind, idle-timeout, session-idle-timeout, drain
    [listen.tls]        cert (needed), key, client-ca
    [listen.limits]     max-sessions, max-streams, max-forwards, rate, session-rate
    [listen.output]     log-format, verbosity, metrics, control, trace
    [users.NAME]        token, allow, allow-bind, and the keys of [listen.limits]; a token file has these tables alone

    [connect]           server (needed), insecure, token-file, sessions, max-retries, connect-wait, drain
    [connect.tls]       ca, name, fingerprint, cert, key; the table turns TLS on, even if it is empty
    [connect.output]    as above
    [forwards.NAME]     type (needed: local, remote, dynamic or http-proxy), listen (needed), target, proxy-protocol
    [forwards]          NAME = "-L 8080:localhost:80", with -L, -R, -D or --http-proxy, is the same in short

What is not given is as in ListenOptions and ConnectOptions; what a user's table does not say is as in [listen], key by
key. Addresses, rules and forwards are written as on the command line. Durations are text such as "5m" or a number of
seconds; rates are text such as "10MiB" or a whole number of bytes a second. Relative paths count from the file's
folder, and a leading ~ is a home folder; only the Unix sockets of the other end are left as they stand.

Off loopback, TLS is needed unless `insecure` is true. Names are not looked up for that: only localhost and loopback
addresses count as loopback.

Reading also looks at the files that are named: they must be there, certificate and key must belong together, and the
certificate must be valid now. What they hold is not kept: the options name them, and they are read again when used.
"""

from ._document import ConfigError
from ._load import inspect, load_connect, load_listen
from ._token_file import add_user, list_users, remove_user
from ._users import load_users

__all__ = [
    "ConfigError",
    "add_user",
    "inspect",
    "list_users",
    "load_connect",
    "load_listen",
    "load_users",
    "remove_user",
]
