/** Loaded into a program with `--import`: prints its peak memory in KiB when it exits. */
process.once('exit', () => console.error(`peak ${process.resourceUsage().maxRSS}`));
