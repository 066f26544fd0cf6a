"""Virtual addresses to pods: a pure rule model, its nftables text, and the shell that programs it."""
