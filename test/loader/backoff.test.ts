import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { createBackoff } from '../../src/loader/backoff.ts';

// The clock is mocked: the test reads the pauses instead of waiting.
vi.mock(import('node:timers/promises'), async (original) => ({ ...(await original()), setTimeout: vi.fn() }));

const slept = () => vi.mocked(sleep).mock.calls.map(([ms]) => ms);
const signal = new AbortController().signal;

beforeEach(() => {
  vi.mocked(sleep).mockReset().mockResolvedValue(undefined);
});

describe('a backoff', () => {
  it('doubles up to its limit, and starts again after a reset', async () => {
    const backoff = createBackoff(100, 1_000, () => 1);
    for (let i = 0; i < 6; i++) await backoff.pause(signal);
    backoff.reset();
    for (let i = 0; i < 2; i++) await backoff.pause(signal);
    expect(slept()).toEqual([100, 200, 400, 800, 1_000, 1_000, 100, 200]);
  });

  it('has full jitter', async () => {
    const random = [0.5, 0.25, 0];
    const backoff = createBackoff(1_000, 60_000, () => random.shift()!);
    for (let i = 0; i < 3; i++) await backoff.pause(signal);
    expect(slept()).toEqual([500, 500, 0]);
  });

  it('ends or skips a pause when the signal aborts', async () => {
    const real = await vi.importActual<typeof import('node:timers/promises')>('node:timers/promises');
    vi.mocked(sleep).mockImplementation(real.setTimeout as typeof sleep);
    const backoff = createBackoff(3600_000, 3600_000, () => 1);
    const stop = new AbortController();
    const paused = backoff.pause(stop.signal);
    stop.abort();
    await paused;
    await backoff.pause(stop.signal);
  });
});
