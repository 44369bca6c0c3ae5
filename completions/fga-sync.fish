complete --keep-order --exclusive --command fga-sync --arguments "(_FGA_SYNC_COMPLETE=fish fga-sync -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
