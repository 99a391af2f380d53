/** Loaded into a program with `--import`: tells, when it ends, how much memory it has had at most, in KiB. */
process.once('exit', () => console.error(`peak ${process.resourceUsage().maxRSS}`));
