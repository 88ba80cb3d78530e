"""Who may come in, and what they may do: users, tokens, rules, limits, TLS."""

from ._addresses import network_of
from ._bucket import TokenBucket
from ._certificates import (
    certificate_names,
    certificate_warning,
    check_fingerprint,
    fingerprint_of,
    format_fingerprint,
)
from ._checks import Forbidden, check_bind, check_bind_path, check_target, check_target_path
from ._keys import default_names, make_keys
from ._model import Grants, Limits, User
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
from ._token_file import add_user, list_users, remove_user
from ._tokens import is_hash, is_token, new_token, read_token, token_file_warning, token_hash
from ._user_table import UserTableError, name_problem, user_from_table
from ._users import Users

__all__ = [
    "ALPN",
    "BindRule",
    "Forbidden",
    "Grants",
    "Limits",
    "RuleError",
    "TargetRule",
    "TokenBucket",
    "User",
    "UserTableError",
    "Users",
    "add_user",
    "certificate_names",
    "certificate_warning",
    "check_bind",
    "check_bind_path",
    "check_fingerprint",
    "check_target",
    "check_target_path",
    "client_context",
    "default_bind_rules",
    "default_names",
    "default_target_rules",
    "fingerprint_of",
    "format_fingerprint",
    "is_hash",
    "is_token",
    "list_users",
    "make_keys",
    "name_problem",
    "negotiated",
    "network_of",
    "new_token",
    "parse_bind_rule",
    "parse_target_rule",
    "read_token",
    "remove_user",
    "server_context",
    "token_file_warning",
    "token_hash",
    "user_from_table",
]
