import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/support/servers.ts',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Most of a test's time is waiting for servers, not computing.
    maxWorkers: 4,
  },
});
