/** `postern serve`: the decision service, until a signal ends it. */
import { join } from 'node:path';
import type { SinkSettings } from '../config/audit.ts';
import { loadSettings } from '../config/settings.ts';
import { startServer } from '../server.ts';
import { withoutSecrets } from '../store/redis/address.ts';
import { EXIT } from './output.ts';
import { heapLimiter, releaseStartupMemory } from './release-memory.ts';
import { stopSignal } from './signals.ts';

/** How often the size of the caches is looked at, ms. */
const HEAP_LOOK_MS = 1_000;

export interface ServeOptions {
  readonly packageRoot: string;
  readonly version: string;
  readonly config?: string;
  readonly state: readonly string[];
  readonly demo?: boolean;
  /** Called when the server takes signals to stop itself. */
  readonly onServing: () => void;
}

export async function serve(options: ServeOptions): Promise<number> {
  const startedAt = performance.now();
  const { packageRoot, version } = options;
  const { settings, adminToken, file, warnings } = loadSettings(
    options.config,
    process.env,
    packageRoot,
  );
  const demo = options.demo === true ? [join(packageRoot, 'config/demo.yaml')] : [];
  const states = [...options.state, ...demo];
  const running = await startServer({
    settings,
    settingsFile: file,
    adminToken,
    states,
    packageRoot,
    version,
  });
  const stopping = stopSignal();
  options.onServing();
  releaseStartupMemory();
  const limitHeap = heapLimiter();
  setInterval(() => limitHeap(running.cachedBytes()), HEAP_LOOK_MS).unref();
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
  say(`  audit     ${settings.audit.sinks.map(shownSink).join(', ') || 'off'}`);
  if (settings.admin.enabled || adminToken !== undefined)
    say(`  admin     AdminService on ${grpc}`);
  if (options.demo === true)
    say(`Try it: npx postern check alice read work.projects.api --tenant demo --address ${grpc}`);

  process.on('SIGHUP', () => running.reload());
  const signal = await stopping;
  running.log.info({ signal }, 'closing: calls in flight finish');
  await running.close();
  return EXIT.ok;
}

function shownSink(sink: SinkSettings): string {
  const where = sink.type === 'file' ? sink.path : sink.type;
  return sink.mode === 'drop' ? where : `${where} (${sink.mode})`;
}
