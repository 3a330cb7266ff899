/** Builds the command once, so that tests run what users run, and sees to the servers that they need. */
import { execFileSync } from 'node:child_process';
import { installPostgres } from './support/postgres-server.ts';
import { installRedis } from './support/redis-server.ts';

export default function setup(): void {
  execFileSync(process.execPath, ['scripts/build.mjs'], { stdio: 'inherit' });
  installRedis();
  installPostgres();
}
