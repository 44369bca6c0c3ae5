# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_fga_sync_global_optspecs
    string join \n config= source= store-id= fga-config= allow-http tls-ca= tls-cert= tls-key= target= mode= schema= table-prefix= format= no-progress progress-every= log-level= log-format= v/verbose q/quiet show-config h/help V/version
end

function __fish_fga_sync_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_fga_sync_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_fga_sync_using_subcommand
    set -l cmd (__fish_fga_sync_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c fga-sync -n "__fish_fga_sync_needs_command" -l config -d 'Read settings from this TOML file [env: FGA_SYNC_CONFIG]' -r -F
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l source -d 'Where changes come from: [https://]HOST[/PREFIX], or file:PATH or file:- for recorded pages [env: FGA_SYNC_SOURCE, FGA_API_URL] [file: source.url]' -r
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l store-id -d 'The store to mirror [env: FGA_SYNC_STORE_ID, FGA_STORE_ID] [file: source.store_id]' -r
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l fga-config -d 'Read what is not set otherwise from the official CLI\'s .fga.yaml: this one, or where the CLI looks for it [env: FGA_SYNC_FGA_CONFIG] [file: source.fga_config]' -r -F
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l tls-ca -d 'Trust only the certificate authorities in this file for the source (PEM) [env: FGA_SYNC_TLS_CA] [file: source.tls_ca]' -r -F
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l tls-cert -d 'Show the source this client certificate (PEM) [env: FGA_SYNC_TLS_CERT] [file: source.tls_cert]' -r -F
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l tls-key -d 'The private key of the client certificate (PEM, not encrypted) [env: FGA_SYNC_TLS_KEY] [file: source.tls_key]' -r -F
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l target -d 'Where they go: sqlite:PATH, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE [default: sqlite:fga-sync.db] [env: FGA_SYNC_TARGET] [file: target.url]' -r
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l mode -d 'What is kept: every change, the tuples as they stand, or both [default: both] [env: FGA_SYNC_MODE] [file: target.mode]' -r -f -a "changelog\t''
stateful\t''
both\t''"
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l schema -d 'The PostgreSQL schema of the tables [env: FGA_SYNC_SCHEMA] [file: target.schema]' -r
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l table-prefix -d 'A prefix of the tables\' names, on SQLite and MySQL [env: FGA_SYNC_TABLE_PREFIX] [file: target.table_prefix]' -r
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l format -d 'What goes to standard output [default: text] [env: FGA_SYNC_FORMAT] [file: output.format]' -r -f -a "text\t''
json\t''"
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l progress-every -d 'Log so often how far a run has come, where no progress line shows it (0s: never) [default: 1m] [env: FGA_SYNC_PROGRESS_EVERY] [file: output.progress_every]' -r
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l log-level -d 'How much is logged to standard error; -v and -q move it [default: warn] [env: FGA_SYNC_LOG_LEVEL] [file: log.level]' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l log-format -d 'How log lines look [default: text] [env: FGA_SYNC_LOG_FORMAT] [file: log.format]' -r -f -a "text\t''
json\t''"
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l allow-http -d 'Send the token and read the tuples in the clear, from a source with http:// on another machine [default: false] [env: FGA_SYNC_ALLOW_HTTP] [file: source.allow_http]'
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l no-progress -d 'Show no progress line, even on a terminal [default: false] [env: FGA_SYNC_NO_PROGRESS] [file: output.no_progress]'
complete -c fga-sync -n "__fish_fga_sync_needs_command" -s v -l verbose -d 'Log more; twice for even more'
complete -c fga-sync -n "__fish_fga_sync_needs_command" -s q -l quiet -d 'Print nothing but errors, and what --format json asks for'
complete -c fga-sync -n "__fish_fga_sync_needs_command" -l show-config -d 'Print each setting and where it comes from, secrets masked, and exit'
complete -c fga-sync -n "__fish_fga_sync_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fga-sync -n "__fish_fga_sync_needs_command" -s V -l version -d 'Print version'
complete -c fga-sync -n "__fish_fga_sync_needs_command" -f -a "run" -d 'Drain the change feed into the target, then exit'
complete -c fga-sync -n "__fish_fga_sync_needs_command" -f -a "migrate" -d 'Create or upgrade the tables'
complete -c fga-sync -n "__fish_fga_sync_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l type -d 'Only the changes of objects of this type; the server filters [env: FGA_SYNC_TYPE] [file: run.type]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l page-size -d 'Changes to ask for at once; the most that the server accepts, up to 1000, unless given [env: FGA_SYNC_PAGE_SIZE] [file: run.page_size]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l start-time -d 'Where a log that is read for the first time begins (RFC 3339); older changes are left out [env: FGA_SYNC_START_TIME] [file: run.start_time]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l max-changes -d 'Stop after this many changes, with exit code 3 if more remain [env: FGA_SYNC_MAX_CHANGES] [file: run.max_changes]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l max-duration -d 'Stop between pages after this long, such as 50m, with exit code 3 if more remains [env: FGA_SYNC_MAX_DURATION] [file: run.max_duration]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l lookback -d 'Read again, in the next run, what was written less than this long ago: changes may yet appear between (0s: only the last ones) [default: 10s] [env: FGA_SYNC_LOOKBACK] [file: run.lookback]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l max-rps -d 'Send at most this many requests a second to the source [env: FGA_SYNC_MAX_RPS] [file: run.max_rps]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l retry-for -d 'How long a request to the source may be tried again, waits that the server asks for included [default: 5m] [env: FGA_SYNC_RETRY_FOR] [file: run.retry_for]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l if-locked -d 'What to do while another run holds the lock: exit 10, exit 0, or wait [default: fail] [env: FGA_SYNC_IF_LOCKED] [file: run.if_locked]' -r -f -a "fail\t''
skip\t''
wait\t''"
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l keep-runs -d 'Keep so many runs of each name in fga_sync_runs, the last ones [default: 10000] [env: FGA_SYNC_KEEP_RUNS] [file: run.keep_runs]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l job -d 'Run this job of the configuration file' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l config -d 'Read settings from this TOML file [env: FGA_SYNC_CONFIG]' -r -F
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l source -d 'Where changes come from: [https://]HOST[/PREFIX], or file:PATH or file:- for recorded pages [env: FGA_SYNC_SOURCE, FGA_API_URL] [file: source.url]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l store-id -d 'The store to mirror [env: FGA_SYNC_STORE_ID, FGA_STORE_ID] [file: source.store_id]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l fga-config -d 'Read what is not set otherwise from the official CLI\'s .fga.yaml: this one, or where the CLI looks for it [env: FGA_SYNC_FGA_CONFIG] [file: source.fga_config]' -r -F
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l tls-ca -d 'Trust only the certificate authorities in this file for the source (PEM) [env: FGA_SYNC_TLS_CA] [file: source.tls_ca]' -r -F
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l tls-cert -d 'Show the source this client certificate (PEM) [env: FGA_SYNC_TLS_CERT] [file: source.tls_cert]' -r -F
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l tls-key -d 'The private key of the client certificate (PEM, not encrypted) [env: FGA_SYNC_TLS_KEY] [file: source.tls_key]' -r -F
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l target -d 'Where they go: sqlite:PATH, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE [default: sqlite:fga-sync.db] [env: FGA_SYNC_TARGET] [file: target.url]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l mode -d 'What is kept: every change, the tuples as they stand, or both [default: both] [env: FGA_SYNC_MODE] [file: target.mode]' -r -f -a "changelog\t''
stateful\t''
both\t''"
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l schema -d 'The PostgreSQL schema of the tables [env: FGA_SYNC_SCHEMA] [file: target.schema]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l table-prefix -d 'A prefix of the tables\' names, on SQLite and MySQL [env: FGA_SYNC_TABLE_PREFIX] [file: target.table_prefix]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l format -d 'What goes to standard output [default: text] [env: FGA_SYNC_FORMAT] [file: output.format]' -r -f -a "text\t''
json\t''"
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l progress-every -d 'Log so often how far a run has come, where no progress line shows it (0s: never) [default: 1m] [env: FGA_SYNC_PROGRESS_EVERY] [file: output.progress_every]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l log-level -d 'How much is logged to standard error; -v and -q move it [default: warn] [env: FGA_SYNC_LOG_LEVEL] [file: log.level]' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l log-format -d 'How log lines look [default: text] [env: FGA_SYNC_LOG_FORMAT] [file: log.format]' -r -f -a "text\t''
json\t''"
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l no-migrate -d 'Neither create nor upgrade tables; exit 8 where they are not as needed [default: false] [env: FGA_SYNC_NO_MIGRATE] [file: run.no_migrate]'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l dry-run -d 'Read, plan and count, and write nothing'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l all -d 'Run every job of the configuration file, each after those that it needs'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l allow-http -d 'Send the token and read the tuples in the clear, from a source with http:// on another machine [default: false] [env: FGA_SYNC_ALLOW_HTTP] [file: source.allow_http]'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l no-progress -d 'Show no progress line, even on a terminal [default: false] [env: FGA_SYNC_NO_PROGRESS] [file: output.no_progress]'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -s v -l verbose -d 'Log more; twice for even more'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -s q -l quiet -d 'Print nothing but errors, and what --format json asks for'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -l show-config -d 'Print each setting and where it comes from, secrets masked, and exit'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand run" -s h -l help -d 'Print help'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l from -d 'Print only what tables of this version lack' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l job -d 'Migrate the target of this job of the configuration file' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l config -d 'Read settings from this TOML file [env: FGA_SYNC_CONFIG]' -r -F
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l source -d 'Where changes come from: [https://]HOST[/PREFIX], or file:PATH or file:- for recorded pages [env: FGA_SYNC_SOURCE, FGA_API_URL] [file: source.url]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l store-id -d 'The store to mirror [env: FGA_SYNC_STORE_ID, FGA_STORE_ID] [file: source.store_id]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l fga-config -d 'Read what is not set otherwise from the official CLI\'s .fga.yaml: this one, or where the CLI looks for it [env: FGA_SYNC_FGA_CONFIG] [file: source.fga_config]' -r -F
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l tls-ca -d 'Trust only the certificate authorities in this file for the source (PEM) [env: FGA_SYNC_TLS_CA] [file: source.tls_ca]' -r -F
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l tls-cert -d 'Show the source this client certificate (PEM) [env: FGA_SYNC_TLS_CERT] [file: source.tls_cert]' -r -F
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l tls-key -d 'The private key of the client certificate (PEM, not encrypted) [env: FGA_SYNC_TLS_KEY] [file: source.tls_key]' -r -F
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l target -d 'Where they go: sqlite:PATH, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE [default: sqlite:fga-sync.db] [env: FGA_SYNC_TARGET] [file: target.url]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l mode -d 'What is kept: every change, the tuples as they stand, or both [default: both] [env: FGA_SYNC_MODE] [file: target.mode]' -r -f -a "changelog\t''
stateful\t''
both\t''"
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l schema -d 'The PostgreSQL schema of the tables [env: FGA_SYNC_SCHEMA] [file: target.schema]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l table-prefix -d 'A prefix of the tables\' names, on SQLite and MySQL [env: FGA_SYNC_TABLE_PREFIX] [file: target.table_prefix]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l format -d 'What goes to standard output [default: text] [env: FGA_SYNC_FORMAT] [file: output.format]' -r -f -a "text\t''
json\t''"
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l progress-every -d 'Log so often how far a run has come, where no progress line shows it (0s: never) [default: 1m] [env: FGA_SYNC_PROGRESS_EVERY] [file: output.progress_every]' -r
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l log-level -d 'How much is logged to standard error; -v and -q move it [default: warn] [env: FGA_SYNC_LOG_LEVEL] [file: log.level]' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l log-format -d 'How log lines look [default: text] [env: FGA_SYNC_LOG_FORMAT] [file: log.format]' -r -f -a "text\t''
json\t''"
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l print-sql -d 'Print the SQL for a DBA to run instead, without connecting'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l allow-http -d 'Send the token and read the tuples in the clear, from a source with http:// on another machine [default: false] [env: FGA_SYNC_ALLOW_HTTP] [file: source.allow_http]'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l no-progress -d 'Show no progress line, even on a terminal [default: false] [env: FGA_SYNC_NO_PROGRESS] [file: output.no_progress]'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -s v -l verbose -d 'Log more; twice for even more'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -s q -l quiet -d 'Print nothing but errors, and what --format json asks for'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -l show-config -d 'Print each setting and where it comes from, secrets masked, and exit'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand migrate" -s h -l help -d 'Print help'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand help; and not __fish_seen_subcommand_from run migrate help" -f -a "run" -d 'Drain the change feed into the target, then exit'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand help; and not __fish_seen_subcommand_from run migrate help" -f -a "migrate" -d 'Create or upgrade the tables'
complete -c fga-sync -n "__fish_fga_sync_using_subcommand help; and not __fish_seen_subcommand_from run migrate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
