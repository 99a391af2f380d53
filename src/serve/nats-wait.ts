import { reasonOf } from '../files/system-error.ts';
import { connectOnce, type NatsAddress } from '../log/connection.ts';

const FIRST_MS = 10_000;
const AGAIN_MS = 60_000;

/** Reports what the start waits for and what to do, after ten seconds and then every minute, until it is stopped. */
export function reportWhileWaiting(address: NatsAddress, progress: (line: string) => void): { stop(): void } {
  let stopped = false;
  let timer = setTimeout(() => void report(), FIRST_MS);
  return {
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };

  async function report(): Promise<void> {
    const line = await diagnosisOf(address);
    if (stopped) return;
    progress(line);
    timer = setTimeout(() => void report(), AGAIN_MS);
  }
}

/** The waiting client gives no reason, so a second client tries once. */
async function diagnosisOf(address: NatsAddress): Promise<string> {
  const where = address.servers.join(', ');
  try {
    const nc = await connectOnce(address);
    await nc.close();
    return `NATS answers at ${where}, but JetStream does not: start nats-server with JetStream (-js), or a majority of its cluster. Still trying.`;
  } catch (error) {
    return `NATS cannot be reached at ${where}: ${reasonOf(error)}. Start nats-server there, or correct NATS_URL: its address, user and password. Still trying.`;
  }
}
