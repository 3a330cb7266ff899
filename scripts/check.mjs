/**
 * The gate: first what says soon whether a small change is sound (types, lint, format, unused code, unit tests),
 * then the system tests. The static checks run side by side; the first step that fails ends the run.
 */
import { spawn } from 'node:child_process';

/** Runs an npm script. @returns its exit code, its output where it was kept, and the seconds it took */
function run(script, { quiet }) {
  const start = performance.now();
  const child = spawn('npm', ['run', '--silent', script], {
    stdio: ['ignore', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text) => (output += text));
  return new Promise((done) => {
    const end = (code) =>
      done({ script, code, output, seconds: (performance.now() - start) / 1000 });
    child.on('error', (error) => {
      output += String(error);
      end(1);
    });
    child.on('close', (code) => end(code ?? 1));
  });
}

/** Says how a step ended, and ends the run where it failed. */
function report(...steps) {
  for (const { script, code, output, seconds } of steps) {
    if (code !== 0) process.stderr.write(output);
    process.stderr.write(
      `check: ${script} ${code === 0 ? 'passed' : 'FAILED'} after ${seconds.toFixed(1)} s\n`,
    );
  }
  if (steps.some(({ code }) => code !== 0)) process.exit(1);
}

const STATIC = ['types', 'lint', 'format', 'unused'];
report(...(await Promise.all(STATIC.map((script) => run(script, { quiet: true })))));
report(await run('test:unit', { quiet: false }));
report(await run('test:system', { quiet: false }));
