import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // Registries that tests start share a working folder, and so would share the default one.
    env: { REGISTRY_HISTORY_FILE: 'off' },
    globalSetup: 'test/support/servers.ts',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Most of a test's time is waiting for servers, not computing.
    maxWorkers: 4,
  },
});
