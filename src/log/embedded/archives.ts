/** The version that is fetched where none is installed. */
export const PINNED_NATS = '2.15.2';

/**
 * SHA-256 of the release archives of that version, by platform (`linux-amd64`). With them nobody has to believe the host that
 * has the archive: whoever could replace an archive there could replace the release's SHA256SUMS, too.
 *
 * None is known yet for this version: take them from two sources that agree, such as SHA256SUMS and the Dockerfiles of
 * nats-io/nats-docker. Until then Go comes first, whose checksum database vouches for what it builds.
 */
export const PINNED_ARCHIVES: Record<string, string> = {};
