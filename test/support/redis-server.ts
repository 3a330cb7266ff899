/** Real Redis servers on loopback, each with a directory of its own, that tests may pause, kill and start again. */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { tied } from './tied.ts';

export interface RedisServer {
  readonly port: number;
  /** `redis://127.0.0.1:port`. */
  readonly url: string;
  /** One command over a connection of its own. */
  command(name: string, ...args: readonly (string | number)[]): Promise<unknown>;
  /** Stops it in its tracks, as a hang does (SIGSTOP). */
  pause(): void;
  resume(): void;
  kill(): Promise<void>;
  /** Starts it again on the same port, with what it had written to disk. */
  restart(): Promise<void>;
  dispose(): Promise<void>;
}

/** A port that was free a moment ago; a cluster's bus port, 10,000 above, fits too. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // The server listens on TCP.
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port > 10_000 && port < 50_000 ? port : freePort();
}

/** @param settings lines of redis.conf; `append` writes each command to disk before it is answered */
export async function startRedis(
  settings: readonly string[] = [],
  { sentinel = false, password = '' } = {},
): Promise<RedisServer> {
  const directory = mkdtempSync(join(tmpdir(), 'postern-redis-'));
  const port = await freePort();
  const file = join(directory, 'redis.conf');
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${directory}`,
    ...(sentinel ? [] : ['save ""']),
    ...settings,
  ];
  writeFileSync(file, `${lines.join('\n')}\n`);
  let child: ChildProcess;
  const command: RedisServer['command'] = async (name, ...args) => {
    const redis = new Redis({
      port,
      host: '127.0.0.1',
      lazyConnect: true,
      retryStrategy: null,
      protocol: 2,
      ...(password === '' ? {} : { password }),
    });
    redis.on('error', () => {});
    try {
      await redis.connect();
      return await redis.call(name, ...args);
    } finally {
      redis.disconnect();
    }
  };
  const start = async (): Promise<void> => {
    child = tied(
      spawn('redis-server', [file, ...(sentinel ? ['--sentinel'] : [])], { stdio: 'ignore' }),
    );
    for (let tries = 0; ; tries++) {
      try {
        await command('PING');
        return;
      } catch (error) {
        if (tries > 200) throw error;
        await new Promise((done) => setTimeout(done, 25));
      }
    }
  };
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  await start();
  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    command,
    pause: () => void child.kill('SIGSTOP'),
    resume: () => void child.kill('SIGCONT'),
    kill,
    restart: start,
    async dispose(): Promise<void> {
      await kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export interface RedisCluster {
  /** `redis-cluster://` with all nodes. */
  readonly url: string;
  readonly nodes: readonly RedisServer[];
  dispose(): Promise<void>;
}

const SLOTS = 16_384;

/** A cluster of primaries without replicas, all slots covered. */
export async function startCluster(size = 3): Promise<RedisCluster> {
  const nodes = await Promise.all(
    Array.from({ length: size }, () =>
      startRedis([
        'cluster-enabled yes',
        'cluster-config-file nodes.conf',
        'cluster-node-timeout 2000',
      ]),
    ),
  );
  for (const [index, node] of nodes.entries()) {
    const [from, to] = [index, index + 1].map((at) => Math.floor((SLOTS * at) / size));
    await node.command('CLUSTER', 'ADDSLOTSRANGE', from ?? 0, (to ?? SLOTS) - 1);
    await node.command('CLUSTER', 'SET-CONFIG-EPOCH', index + 1);
  }
  for (const node of nodes.slice(1))
    await nodes[0]?.command('CLUSTER', 'MEET', '127.0.0.1', node.port);
  for (const node of nodes)
    await until(async () => {
      const info = String(await node.command('CLUSTER', 'INFO'));
      return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${size}`);
    });
  return {
    url: `redis-cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    nodes,
    async dispose(): Promise<void> {
      await Promise.all(nodes.map((node) => node.dispose()));
    },
  };
}

export interface RedisSentinel {
  /** `redis-sentinel://`. */
  readonly url: string;
  readonly servers: readonly [RedisServer, RedisServer];
  /** Which of the two is the primary, as the sentinel sees it. */
  primary(): Promise<RedisServer>;
  failOver(): Promise<void>;
  dispose(): Promise<void>;
}

/** A primary, a replica, and one sentinel that decides alone. */
export async function startSentinel(): Promise<RedisSentinel> {
  const first = await startRedis(['repl-diskless-sync-delay 0']);
  const second = await startRedis([`replicaof 127.0.0.1 ${first.port}`]);
  await until(async () =>
    String(await second.command('INFO', 'replication')).includes('master_link_status:up'),
  );
  const sentinel = await startRedis(
    [
      `sentinel monitor facts 127.0.0.1 ${first.port} 1`,
      'sentinel down-after-milliseconds facts 500',
      'sentinel failover-timeout facts 3000',
    ],
    { sentinel: true },
  );
  const servers = [first, second] as const;
  const primary = async (): Promise<RedisServer> => {
    const address = await sentinel.command('SENTINEL', 'get-master-addr-by-name', 'facts');
    const port = Number((address as string[])[1]);
    return port === first.port ? first : second;
  };
  /** The sentinel knows of a replica before it has heard from it, and promotes only one that it has heard from. */
  const replicaIsGood = async (): Promise<boolean> => {
    const [replica] = (await sentinel.command('SENTINEL', 'replicas', 'facts')) as string[][];
    const field = (name: string): string | undefined => replica?.[replica.indexOf(name) + 1];
    return field('flags') === 'slave' && field('master-link-status') === 'ok';
  };
  await until(replicaIsGood);
  return {
    url: `redis-sentinel://127.0.0.1:${sentinel.port}/facts`,
    servers,
    primary,
    async failOver(): Promise<void> {
      const before = await primary();
      // On a busy machine the sentinel may not have heard from the replica for a while: then it is asked again.
      await until(async () => {
        try {
          return (await sentinel.command('SENTINEL', 'failover', 'facts')) === 'OK';
        } catch (error) {
          if (String(error).includes('NOGOODSLAVE')) return false;
          throw error;
        }
      });
      await until(async () => (await primary()) !== before);
    },
    async dispose(): Promise<void> {
      await Promise.all([sentinel, ...servers].map((server) => server.dispose()));
    },
  };
}

/** Looks until it is so. @throws where it takes longer than `ms` */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  ms = 20_000,
  every = 20,
): Promise<void> {
  const end = performance.now() + ms;
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`it is not so after ${ms} ms: ${isSo.toString()}`);
    await new Promise((done) => setTimeout(done, every));
  }
}

/** Installs Redis where it is missing. @throws where it cannot be */
export function installRedis(): void {
  const present = (): boolean => {
    try {
      execFileSync('redis-server', ['--version'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  };
  if (present()) return;
  const apt = (...args: string[]): void =>
    void execFileSync('apt-get', ['-q', '-y', ...args], { stdio: 'ignore' });
  try {
    apt('update');
    apt('install', '--no-install-recommends', 'redis-server');
  } catch {
    // Said below, with the remedy.
  }
  if (!present())
    throw new Error(
      'the tests need `redis-server` 7.0 or newer on the PATH: install it, as with `apt-get install redis-server`',
    );
}
