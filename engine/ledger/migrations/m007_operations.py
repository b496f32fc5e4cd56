"""What operators change while the gateway runs, and who did it."""

from __future__ import annotations

from sqlite_utils import Database


def _latest(view: str, table: str, by: tuple[str, ...], where: str) -> str:
    """A view of the rows that no later one of the same subject has taken the place of."""
    same = " AND ".join(f"later.{column} IS latest.{column}" for column in by)
    return f"""CREATE VIEW {view} AS
        SELECT * FROM {table} AS latest
        WHERE {where} AND NOT EXISTS (
            SELECT 1 FROM {table} AS later WHERE {same} AND later.change_id > latest.change_id
        )"""  # noqa: S608 - constants


_TABLES = {
    "key_terms": """
        change_id INTEGER PRIMARY KEY,
        key_id TEXT NOT NULL REFERENCES keys (key_id),
        name TEXT NOT NULL,
        scopes TEXT NOT NULL,
        models TEXT,
        limits TEXT NOT NULL,
        expires_at_ms INTEGER,
        replaced_by TEXT REFERENCES keys (key_id),
        at_ms INTEGER NOT NULL""",
    "account_plans": """
        change_id INTEGER PRIMARY KEY,
        account_id TEXT NOT NULL REFERENCES accounts (account_id),
        plan TEXT,
        at_ms INTEGER NOT NULL""",
    "plan_changes": """
        change_id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        body TEXT,
        at_ms INTEGER NOT NULL""",
    "price_changes": """
        change_id INTEGER PRIMARY KEY,
        scope TEXT NOT NULL CHECK (scope IN ('account', 'plan', 'all')),
        owner TEXT NOT NULL CHECK ((owner = '') = (scope = 'all')),
        model TEXT NOT NULL,
        rates TEXT,
        at_ms INTEGER NOT NULL""",
    "switches": """
        change_id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL CHECK (kind IN ('provider', 'deployment', 'model', 'key', 'account')),
        subject TEXT NOT NULL,
        off INTEGER NOT NULL CHECK (off IN (0, 1)),
        reason TEXT NOT NULL,
        at_ms INTEGER NOT NULL""",
    "admin_log": """
        log_id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        actor TEXT NOT NULL,
        peer TEXT,
        action TEXT NOT NULL,
        subject TEXT,
        detail TEXT NOT NULL""",
}
"""All append-only. `plan`, `body` and `rates` of NULL: none any more."""

_STATEMENTS = (
    "CREATE INDEX key_terms_by_key ON key_terms (key_id, change_id)",
    "CREATE INDEX account_plans_by_account ON account_plans (account_id, change_id)",
    "CREATE INDEX plan_changes_by_name ON plan_changes (name, change_id)",
    "CREATE INDEX price_changes_by_model ON price_changes (scope, owner, model, change_id)",
    "CREATE INDEX switches_by_subject ON switches (kind, subject, change_id)",
    "CREATE INDEX admin_log_by_subject ON admin_log (subject, log_id)",
    "CREATE INDEX accounts_by_time ON accounts (kind, created_at_ms, account_id)",
    "CREATE INDEX keys_by_time ON keys (created_at_ms, key_id)",
    "CREATE INDEX keys_by_account ON keys (account_id, created_at_ms, key_id)",
    _latest("current_terms", "key_terms", ("key_id",), "true"),
    _latest("current_plans", "account_plans", ("account_id",), "plan IS NOT NULL"),
    _latest("plans", "plan_changes", ("name",), "body IS NOT NULL"),
    _latest("prices", "price_changes", ("scope", "owner", "model"), "rates IS NOT NULL"),
    _latest("switched_off", "switches", ("kind", "subject"), "off = 1"),
    "DROP VIEW budgets",
    """ALTER TABLE budget_changes ADD COLUMN origin TEXT NOT NULL DEFAULT 'operator'
       CHECK (origin IN ('operator', 'plan'))""",
    """CREATE INDEX budget_changes_by_account
       ON budget_changes (account_id, key_id, period, origin, change_id)""",
    _latest(
        "wanted_budgets",
        "budget_changes",
        ("account_id", "key_id", "period", "origin"),
        "limit_nanodollars IS NOT NULL",
    ),
    """CREATE VIEW budgets AS
       SELECT * FROM wanted_budgets AS wanted
       WHERE origin = 'operator' OR NOT EXISTS (
           SELECT 1 FROM wanted_budgets AS own
           WHERE own.account_id IS wanted.account_id AND own.key_id IS wanted.key_id
               AND own.period IS wanted.period AND own.origin = 'operator'
       )""",
)
"""`wanted_budgets` are the latest of operators and of plans; `budgets` those in force: where both
want one, the operator's."""


def apply(db: Database) -> None:
    """Add the tables, and what is in force of them as views."""
    for table, columns in _TABLES.items():
        db.execute(f"CREATE TABLE {table} ({columns}) STRICT")
        for change in ("UPDATE", "DELETE"):
            db.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table}"
                f" BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
    for statement in _STATEMENTS:
        db.execute(statement)
