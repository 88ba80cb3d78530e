"""Who may come in, and what they may do: users, tokens, rules, limits, TLS."""

from ._addresses import UNSPECIFIED, Ip, is_loopback, known_addresses, network_of, parse_ip
from ._bucket import TokenBucket
from ._certificates import (
    certificate_names,
    certificate_warning,
    check_fingerprint,
    fingerprint_of,
    format_fingerprint,
)
from ._checks import (
    Forbidden,
    check_bind,
    check_bind_name,
    check_bind_path,
    check_target,
    check_target_name,
    check_target_path,
)
from ._exposure import (
    Protection,
    missing_protection,
    require_connect_protection,
    require_listen_protection,
)
from ._files import locked_folder, replace_file
from ._keys import default_names, make_keys
from ._makers import if_missing, makes_authority, makes_certificate, makes_token, makes_users
from ._model import Grants, Limits, User, user_name_problem
from ._own import is_own
from ._rules import (
    BindRule,
    RuleError,
    TargetRule,
    default_bind_rules,
    default_target_rules,
    parse_bind_rule,
    parse_target_rule,
)
from ._tls import ALPN, client_context, negotiated, server_context
from ._tokens import is_hash, is_token, new_token, read_token, token_hash
from ._users import Users
from ._warnings import (
    connect_warnings,
    key_file_warning,
    listen_warnings,
    token_file_warning,
    users_file_warning,
)

__all__ = [
    "ALPN",
    "UNSPECIFIED",
    "BindRule",
    "Forbidden",
    "Grants",
    "Ip",
    "Limits",
    "Protection",
    "RuleError",
    "TargetRule",
    "TokenBucket",
    "User",
    "Users",
    "certificate_names",
    "certificate_warning",
    "check_bind",
    "check_bind_name",
    "check_bind_path",
    "check_fingerprint",
    "check_target",
    "check_target_name",
    "check_target_path",
    "client_context",
    "connect_warnings",
    "default_bind_rules",
    "default_names",
    "default_target_rules",
    "fingerprint_of",
    "format_fingerprint",
    "if_missing",
    "is_hash",
    "is_loopback",
    "is_own",
    "is_token",
    "key_file_warning",
    "known_addresses",
    "listen_warnings",
    "locked_folder",
    "make_keys",
    "makes_authority",
    "makes_certificate",
    "makes_token",
    "makes_users",
    "missing_protection",
    "negotiated",
    "network_of",
    "new_token",
    "parse_bind_rule",
    "parse_ip",
    "parse_target_rule",
    "read_token",
    "replace_file",
    "require_connect_protection",
    "require_listen_protection",
    "server_context",
    "token_file_warning",
    "token_hash",
    "user_name_problem",
    "users_file_warning",
]
