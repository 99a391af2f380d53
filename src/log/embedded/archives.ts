/** The version that is downloaded if no nats-server is installed. */
export const PINNED_NATS = '2.15.2';

/**
 * SHA-256 of the release archives of that version, by platform (`linux-amd64`). They make it unnecessary to trust the
 * download host: an attacker who can replace an archive there can also replace the release's SHA256SUMS.
 *
 * There are none for this version yet. Take them from two sources that agree, such as SHA256SUMS and the Dockerfiles of
 * nats-io/nats-docker. Until then `go install` is tried first, because Go verifies its downloads with a checksum database.
 */
export const PINNED_ARCHIVES: Record<string, string> = {};
