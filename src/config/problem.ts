/** What is wrong in a file, where, and what to do about it. */
import { closest, distance } from 'fastest-levenshtein';

export interface Problem {
  readonly file: string;
  /** Both count from 1. */
  readonly line: number;
  readonly column: number;
  /** `actions[3].tree`; `''`: the whole file. */
  readonly path: string;
  readonly message: string;
  /** A warning is printed; an error refuses the file. */
  readonly severity: 'error' | 'warning';
}

/** `config/actions.yaml:12:5: actions[3].tree: message` */
export function formatProblem({ file, line, column, path, message, severity }: Problem): string {
  const where = `${file}:${line}:${column}: ${path === '' ? '' : `${path}: `}`;
  return `${where}${severity === 'warning' ? 'warning: ' : ''}${message}`;
}

/** Files that are refused. Nothing of them is in force. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[];
  /** The file is well formed, and what it says contradicts itself or a rule. */
  readonly isContradiction: boolean;

  constructor(problems: readonly Problem[], isContradiction = false) {
    super(problems.map(formatProblem).join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
    this.isContradiction = isContradiction;
  }
}

/** `: did you mean \`x\`?`, where a known name is near enough to be meant; else what is known, if that is short. */
export function suggest(name: string, known: readonly string[]): string {
  if (known.length === 0) return '';
  const near = closest(name, known);
  if (distance(name, near) <= Math.max(2, Math.floor(name.length / 3)))
    return `: did you mean \`${near}\`?`;
  return known.length <= 12 ? `: known are ${known.join(', ')}` : '';
}

/** `actions[3].tree` */
export function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part)}`))
    .join('')
    .replace(/^\./, '');
}
