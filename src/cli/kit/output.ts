/** What commands print: tables and colour for people on a terminal, JSON and YAML for programs. */
import { styleText } from 'node:util';
import { yamlText } from '../../config/yaml-text.ts';

export type Format = 'table' | 'json' | 'yaml';

/** Exit codes of every command. */
export const EXIT = { ok: 0, refused: 1, usage: 2 } as const;

/** A command's failure: its message goes to stderr, its code is the exit code. */
export class CliError extends Error {
  readonly code: number;

  constructor(message: string, code: number = EXIT.usage) {
    super(message);
    this.code = code;
  }
}

type Style = Parameters<typeof styleText>[0];

/** Colours a text if stdout is a terminal that wants colours. */
export function paint(style: Style, text: string): string {
  return styleText(style, text, { stream: process.stdout });
}

/** Prints a value as the format asks; `human` makes the form for people. */
export function print(format: Format, value: unknown, human: () => string): void {
  const text =
    format === 'json'
      ? JSON.stringify(value, null, 2)
      : format === 'yaml'
        ? yamlText(value).trimEnd()
        : human();
  process.stdout.write(`${text}\n`);
}

/**
 * Text from elsewhere, safe for a terminal: no control character is obeyed, nothing changes the direction, no other
 * line begins, and half a character is told as what it is.
 */
export function visible(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\ufeff]/gu,
    (c) => `\\u${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
  );
}

/** Prints lines, and waits until they are taken. @returns whether somebody still reads */
export async function printLines(lines: readonly string[]): Promise<boolean> {
  const text = lines.map((line) => `${line}\n`).join('');
  await new Promise<void>((done) => process.stdout.write(text, () => done()));
  return process.stdout.writable;
}
