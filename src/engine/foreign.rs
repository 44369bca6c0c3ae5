//! Parameters of other programs' URLs, which people bring along, and what says the same here.

/// Whose URL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
}

/// What to write instead of a parameter that is no one's here; `None` where nobody is known to have it.
pub(super) fn advice(name: &str, server: Server) -> Option<&'static str> {
    let plain = name.to_ascii_lowercase().replace(['-', '_', '.'], "");
    let of = |postgres, mysql| match server {
        Server::Postgres => postgres,
        Server::MySql => mysql,
    };
    Some(match plain.as_str() {
        "schema" | "currentschema" | "searchpath" => of(
            "--schema NAME (FGA_SYNC_SCHEMA, target.schema) says in which schema the tables are",
            "on MySQL a schema is the database of the URL; --table-prefix PREFIX keeps tables apart in it",
        ),
        "tableprefix" | "prefix" => of(
            "on PostgreSQL, --schema NAME (FGA_SYNC_SCHEMA, target.schema) keeps tables apart",
            "--table-prefix PREFIX (FGA_SYNC_TABLE_PREFIX, target.table_prefix)",
        ),
        "pgbouncer"
        | "preparethreshold"
        | "preparedstatements"
        | "preparedstatementcachesize"
        | "statementcachesize"
        | "statementcachemode"
        | "statementcachecapacity"
        | "defaultqueryexecmode"
        | "prefersimpleprotocol"
        | "binaryparameters" => {
            "leave it out: fga-sync works through a pooler in transaction mode as it is"
        }
        "connectionlimit" | "pooltimeout" | "poolsize" | "maxpoolsize" | "minpoolsize"
        | "poolmaxconns" | "poolminconns" | "maxidletime" | "maxlifetime" => of(
            "leave it out: a run has two connections, and no pool",
            "leave it out: a run has one connection, and no pool",
        ),
        "charset" | "encoding" | "clientencoding" | "characterencoding" | "useunicode"
        | "collation" => "leave it out: fga-sync always speaks UTF-8",
        "ssl" | "usessl" | "tls" | "sslaccept" | "requiressl" => of(
            "sslmode=verify-full checks the server's certificate, sslmode=require trusts anybody's",
            "ssl-mode=VERIFY_IDENTITY checks the server's certificate, ssl-mode=REQUIRED trusts anybody's",
        ),
        "sslmode" | "tlsmode" => of("sslmode=MODE", "ssl-mode=MODE"),
        "sslca" | "sslrootcert" | "tlsca" | "serversslcert" => {
            of("sslrootcert=FILE", "ssl-ca=FILE")
        }
        "sslcert" | "tlscert" | "sslidentity" | "clientcert" => of(
            "sslcert=FILE and sslkey=FILE, both in PEM form",
            "ssl-cert=FILE and ssl-key=FILE, both in PEM form",
        ),
        "sslkey" | "tlskey" | "clientkey" => of("sslkey=FILE", "ssl-key=FILE"),
        "connecttimeout" | "connectiontimeout" | "logintimeout" | "timeout" => of(
            "connect_timeout=SECONDS",
            "tcp_connect_timeout_ms=MILLISECONDS",
        ),
        "statementtimeout" | "locktimeout" | "role" | "workmem" => of(
            "options=-c%20NAME%3DVALUE, which sets what a session begins with",
            "leave it out: fga-sync sets what its session needs",
        ),
        "timezone" | "servertimezone" | "parsetime" | "loc" | "datestyle" => {
            "leave it out: fga-sync stores times in UTC"
        }
        "username" | "database" | "db" | "dbname" | "hostname" | "server" => of(
            "say it in its place: postgres://USER@HOST:PORT/DATABASE",
            "say it in its place: mysql://USER@HOST:PORT/DATABASE",
        ),
        "targetservertype" => of("target_session_attrs=primary", "leave it out"),
        "applicationname" => of("application_name=NAME", "leave it out"),
        _ => return None,
    })
}
