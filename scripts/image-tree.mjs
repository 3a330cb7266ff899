/**
 * Lays out the root file system of the container image: `node scripts/image-tree.mjs DIRECTORY`, after a build.
 * It holds this Node with the C libraries it needs, the bundle, its production dependencies and default settings.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';

/** `nonroot`, by a number, so that Kubernetes can tell that it is not root. */
const USER = 65_532;
const APP = 'opt/postern';
/** Who the libraries belong to, for scanners: they read dpkg's records. */
const PACKAGES = ['libc6', 'libgcc-s1', 'libstdc++6'];

const [target] = process.argv.slice(2);
if (target === undefined) throw new Error('usage: node scripts/image-tree.mjs DIRECTORY');
const root = resolve(import.meta.dirname, '..');
const tree = resolve(target);
if (!existsSync(join(root, 'dist/postern.js')))
  throw new Error('dist/postern.js is missing: run `node scripts/build.mjs` first');
if (existsSync(tree) && readdirSync(tree).length > 0)
  throw new Error(`${tree} is not empty: name another directory`);

const at = (...path) => join(tree, ...path);
const write = (path, text, mode = 0o644) => {
  mkdirSync(dirname(at(path)), { recursive: true });
  writeFileSync(at(path), text);
  chmodSync(at(path), mode);
};
const copy = (from, to) => {
  mkdirSync(dirname(at(to)), { recursive: true });
  cpSync(realpathSync(from), at(to), {
    recursive: true,
    // Source maps are for those who build.
    filter: (path) => !path.endsWith('.map'),
  });
};

// The application.
for (const name of ['package.json', 'package-lock.json', 'LICENSE', 'dist', 'proto', 'config'])
  copy(join(root, name), join(APP, name));
execFileSync('npm', ['ci', '--omit=dev', '--ignore-scripts', '--no-audit', '--no-fund'], {
  cwd: at(APP),
  stdio: ['ignore', 'ignore', 'inherit'],
});

// Node, and what it and the native addons are linked with.
copy(process.execPath, 'usr/local/bin/node');
const addons = readdirSync(at(APP, 'node_modules'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.node') && !name.includes('musl'))
  .map((name) => at(APP, 'node_modules', name));
for (const library of new Set([process.execPath, ...addons].flatMap(librariesOf)))
  copy(library, library);
for (const name of PACKAGES) recordPackage(name);
if (existsSync('/etc/os-release')) copy('/etc/os-release', 'etc/os-release');
write(
  'usr/local/bin/postern',
  `#!/usr/local/bin/node --max-semi-space-size=16\nimport('/${APP}/dist/postern.js');\n`,
  0o755,
);

// Who runs it, and how names are found.
write(
  'etc/passwd',
  `root:x:0:0:root:/:/sbin/nologin\nnonroot:x:${USER}:${USER}:nonroot:/var/lib/postern:/sbin/nologin\n`,
);
write('etc/group', `root:x:0:\nnonroot:x:${USER}:\n`);
write('etc/nsswitch.conf', 'passwd: files\ngroup: files\nhosts: files dns\n');

// Settings for a container without any: all defaults, facts in the volume.
for (const name of ['actions.yaml', 'roles.yaml'])
  copy(join(root, 'config', name), join('etc/postern', name));
const settings = readFileSync(join(root, 'config/postern.yaml'), 'utf8');
const contained = settings
  .replace(/^# yaml-language-server: .*\n/, '')
  .replace(/^store: .*$/m, 'store: embedded:/var/lib/postern');
if (!/^store: embedded:\/var\/lib\/postern$/m.test(contained))
  throw new Error(
    'config/postern.yaml has no line `store: …` any more: adapt scripts/image-tree.mjs',
  );
write('etc/postern/postern.yaml', contained);

// Where it may write.
for (const [path, mode] of [
  ['var/lib/postern', 0o700],
  ['run/postern', 0o755],
]) {
  mkdirSync(at(path), { recursive: true });
  chmodSync(at(path), mode);
  if (process.getuid?.() === 0) chownSync(at(path), USER, USER);
}

/** Shared libraries and the loader, as absolute paths. */
function librariesOf(file) {
  const listed = execFileSync('ldd', [file], { encoding: 'utf8' });
  if (listed.includes('not found')) throw new Error(`${file} lacks a library:\n${listed}`);
  return [...listed.matchAll(/(?:^\s+|=> )(\/\S+) \(0x/gm)].map(([, path]) => path);
}

function recordPackage(name) {
  try {
    write(
      join('var/lib/dpkg/status.d', name),
      execFileSync('dpkg-query', ['--status', name], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    );
  } catch {
    // Not a Debian: scanners then see Node and its packages only.
  }
}
