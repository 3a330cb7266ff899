/** Prometheus' own checker, where it is at hand: `scripts/install-promtool.sh` gets it. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { PACKAGE_ROOT } from './package-root.ts';

export interface Promtool {
  /** Runs it; whatever it says comes with the exit code. */
  run(args: readonly string[], input?: string): { readonly code: number; readonly output: string };
}

const PLACES = [join(PACKAGE_ROOT, 'node_modules/.cache/promtool/promtool'), 'promtool'];

/**
 * `undefined` where it is missing, which is said on stderr.
 * @throws Error where it is missing and required: by CI, or by POSTERN_REQUIRE_PROMTOOL
 */
export function findPromtool(): Promtool | undefined {
  const place = PLACES.find((file) => spawnSync(file, ['--version']).status === 0);
  if (place !== undefined)
    return {
      run(args, input) {
        const { status, stdout, stderr } = spawnSync(place, args, { input, encoding: 'utf8' });
        return { code: status ?? -1, output: stdout + stderr };
      },
    };
  const required = [process.env['CI'], process.env['POSTERN_REQUIRE_PROMTOOL']].some(isSet);
  const missing = 'promtool is missing: run scripts/install-promtool.sh, or put it on the PATH';
  if (required) throw new Error(missing);
  process.stderr.write(
    `\nSKIPPED: rules and dashboard are not checked by Prometheus: ${missing}\n`,
  );
  return undefined;
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== '0' && value !== 'false';
}
