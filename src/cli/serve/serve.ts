/** `postern serve`: the decision service, until a signal ends it. */
import { join } from 'node:path';
import type { SinkSettings } from '../../audit/sinks/registry.ts';
import { ConfigError } from '../../config/problem.ts';
import { loadSettings } from '../../config/settings/load-settings.ts';
import type { RunningWorkers } from '../../server/workers.ts';
import type { ServerOptions } from '../../server/compose.ts';
import { withoutSecrets } from '../../store/redis/address.ts';
import { CliError, EXIT } from '../kit/output.ts';
import { startLean, tendMemory } from './release-memory.ts';
import { endWithin, LATE, stopSignal } from './signals.ts';

export interface ServeOptions {
  readonly packageRoot: string;
  readonly version: string;
  readonly config?: string;
  readonly state: readonly string[];
  readonly demo?: boolean;
  /** Called when the server takes signals to stop itself. */
  readonly onServing: () => void;
  /** Called then, too: whether the catalog was to be read again meanwhile. */
  readonly hungUp: () => boolean;
}

export async function serve(options: ServeOptions): Promise<number> {
  const startedAt = performance.now();
  startLean();
  const { packageRoot, version } = options;
  const { settings, adminToken, file, warnings, unnamed, isEnded } = loadSettings(
    options.config,
    process.env,
    packageRoot,
  );
  if (unnamed.length > 0) throw new ConfigError(unnamed);
  const demo = options.demo === true ? [join(packageRoot, 'config/demo.yaml')] : [];
  const states = [...options.state, ...demo];
  const read = { settings, settingsFile: file, settingsEnded: isEnded, adminToken };
  const server = { ...read, states, packageRoot, version };
  const running = settings.workers === 1 ? await alone(server) : await several(server);
  const stopping = stopSignal();
  options.onServing();
  for (const warning of warnings) running.log.warn(warning);
  const { grpc, http } = running.addresses;
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const after = `after ${Math.round(performance.now() - startedAt)} ms`;
  const state = running.waiting
    ? `has started ${after} and is not ready, the store does not answer`
    : `is ready ${after}`;
  say(`postern ${version} ${state}: gRPC on ${grpc}, HTTP on ${http}`);
  say(`  settings  ${file}`);
  say(`  store     ${withoutSecrets(settings.store)}`);
  say(
    `  tenants   ${running.tenants.slice(0, 10).join(', ')}${running.tenants.length > 10 ? ` and ${running.tenants.length - 10} more` : ''}`,
  );
  if (settings.workers > 1) say(`  workers   ${settings.workers}`);
  say(`  audit     ${settings.audit.sinks.map(shownSink).join(', ') || 'off'}`);
  if (settings.admin.enabled || adminToken !== undefined)
    say(`  admin     AdminService on ${grpc}`);
  if (options.demo === true)
    say(`Try it: npx postern check alice read work.projects.api --tenant demo --address ${grpc}`);

  process.on('SIGHUP', () => running.reload());
  if (options.hungUp()) running.reload();
  const signal = await Promise.race([stopping, running.gaveUp]);
  running.log.info({ signal }, 'closing: calls in flight finish');
  const inOrder = await running.close();
  // An answer that a sink still waits for, and nobody needs any more, must not keep the process.
  process.exit(inOrder && signal !== undefined ? EXIT.ok : EXIT.refused);
}

/** One process that does it all. */
async function alone(server: ServerOptions): Promise<RunningWorkers> {
  const { startServer } = await import('../../server/compose.ts');
  const running = await startServer(server);
  tendMemory(running);
  return {
    ...running,
    gaveUp: new Promise<never>(() => {}),
    async close(): Promise<boolean> {
      const { lame_duck_ms: lameDuckMs, grace_ms: graceMs } = server.settings.shutdown;
      endWithin(lameDuckMs + graceMs, () => running.log.fatal(LATE));
      await running.close();
      return running.lostRecords() === 0;
    },
  };
}

/** One that watches over several, each in `dist/worker.js`. */
async function several(server: ServerOptions): Promise<RunningWorkers> {
  const { startWorkers, WorkerError } = await import('../../server/workers.ts');
  try {
    const running = await startWorkers(server, join(server.packageRoot, 'dist/worker.js'));
    tendMemory({ cachedBytes: () => 0 });
    return running;
  } catch (error) {
    throw error instanceof WorkerError ? new CliError(error.message, error.code) : error;
  }
}

function shownSink(sink: SinkSettings): string {
  const where = sink.type === 'file' ? sink.path : sink.type;
  return sink.mode === 'drop' ? where : `${where} (${sink.mode})`;
}
