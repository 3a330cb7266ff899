/** A server that is late refuses, one whose connections are old sends them away: neither loses a call. */
import { status } from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../support/server.ts';

const STATE = {
  tenant: 'acme',
  users: [{ id: 'alice' }],
  grants: [{ principal: 'alice', path: 'work', actions: ['read'] }],
};
const READ = {
  tenant: 'acme',
  subject: { id: 'alice' },
  action: 'read',
  resource: { path: 'work' },
};

let server: TestServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

describe('overload', () => {
  it('refuses calls that come while the process is late, by name, and none afterwards', async () => {
    server = await startTestServer(STATE, { limits: { max_lag_ms: 100 } });
    const { client } = server;
    // A busy machine may be late by itself: the process is in time before and after.
    await expect.poll(() => client.call('Check', READ)).toMatchObject({ allowed: true });
    await new Promise((done) => setTimeout(done, 60));
    const asked = client.call('Check', READ).catch((error: unknown) => error);
    block(400);
    expect(await asked).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('limits.max_lag_ms') as string,
    });
    await expect.poll(() => client.call('Check', READ)).toMatchObject({ allowed: true });
  });

  it('with the limit off, answers however late', async () => {
    server = await startTestServer(STATE, { limits: { max_lag_ms: 0 } });
    const { client } = server;
    await client.call('Check', READ);
    await new Promise((done) => setTimeout(done, 60));
    const asked = client.call('Check', READ);
    block(400);
    expect(await asked).toMatchObject({ allowed: true });
  });
});

describe('the age of connections', () => {
  it('is bounded, and a client that goes on calling loses no call', async () => {
    server = await startTestServer(STATE, { grpc: { max_connection_age_ms: 200 } });
    const { client } = server;
    const until = performance.now() + 1_500;
    let answered = 0;
    while (performance.now() < until) {
      expect(await client.call('Check', READ)).toMatchObject({ allowed: true });
      answered++;
    }
    expect(answered).toBeGreaterThan(50);
  });
});
