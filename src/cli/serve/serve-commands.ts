/** `postern serve` and `postern healthcheck`, as they are invoked. */
import { Option, type Command } from 'commander';
import { collect } from '../kit/arguments.ts';
import type { Format } from '../kit/output.ts';
import { run, type Shared } from '../kit/run.ts';
import { endAtOnce, holdHangUp } from './signals.ts';

/** Adds `postern serve`. */
export function addServe(program: Command, shared: Shared): void {
  program
    .command('serve')
    .description('serve decisions until SIGTERM; SIGHUP reloads the catalog')
    .option('--config <file>', 'settings (default: POSTERN_CONFIG, then config/postern.yaml)')
    .option('--state <file>', 'create this tenant if it does not exist; repeatable', collect, [])
    .option('--demo', 'serve the demo tenant (same as --state config/demo.yaml)')
    .action(
      run(shared, async (options: { config?: string; state: string[]; demo?: boolean }) => {
        // Before what it takes to serve is loaded.
        const onServing = endAtOnce();
        const hungUp = holdHangUp();
        const { serve } = await import('./serve.ts');
        return serve({ ...options, ...shared, onServing, hungUp });
      }),
    );
}

/** Adds `postern healthcheck`. */
export function addHealthcheck(program: Command, shared: Shared): void {
  program
    .command('healthcheck')
    .description('check whether a server is ready')
    .addOption(
      new Option('--http <host:port>', 'the HTTP listener, or unix:/path')
        .env('POSTERN_HTTP_ADDRESS')
        .default('127.0.0.1:4701'),
    )
    .action(
      run(shared, async (options: { output: Format; http: string }) =>
        (await import('./healthcheck.ts')).healthcheck(options),
      ),
    );
}
