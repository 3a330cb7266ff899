/** Tables for the terminal and for the performance pages of docs, and the machine that they come from. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';
import { join } from 'node:path';
import CliTable from 'cli-table3';
import { format, resolveConfig } from 'prettier';
import type { Row, Table } from './scenario.ts';
import { NODE_FLAGS, pinnedToCores } from './servers.ts';

const PAGES = ['performance.md', 'performance-redis.md'].map((name) =>
  join(import.meta.dirname, '../docs', name),
);

/** What the numbers depend on besides the code. */
export function machine(): readonly string[] {
  const all = cpus();
  return [
    `CPU: ${all.length} × ${all[0]?.model.trim() ?? 'unknown'}`,
    `Memory: ${Math.round(totalmem() / 1024 ** 3)} GiB`,
    `System: ${type()} ${release().split('-')[0] ?? ''}`,
    `Node: ${process.version}, servers with ${NODE_FLAGS.join(' ')}`,
    `Cores: ${pinnedToCores && all.length > 1 ? 'one for the server, another for the load' : 'shared, `taskset` or a second core is missing'}`,
    `Idle cores: ${pollsNs() > 0 ? `wait up to ${Math.round(pollsNs() / 1_000)} µs for work before they halt` : 'as the system has it'}`,
  ];
}

/** How long a core of a virtual machine waits at most before it goes back to the host, where that is its own to say. */
function pollsNs(): number {
  const read = (path: string): string =>
    existsSync(path) ? readFileSync(path, 'utf8').trim() : '';
  return read('/sys/devices/system/cpu/cpuidle/current_governor') === 'haltpoll'
    ? Number(read('/sys/module/haltpoll/parameters/guest_halt_poll_ns'))
    : 0;
}

function lines({ rows }: Table): { readonly head: readonly string[]; readonly body: string[][] } {
  const columns = [...new Set(rows.flatMap(({ cells }) => Object.keys(cells)))];
  const targets = rows.some(({ target }) => target !== undefined);
  return {
    head: ['scenario', ...columns, ...(targets ? ['target'] : [])],
    body: rows.map((row) => [
      row.scenario,
      ...columns.map((column) => row.cells[column] ?? ''),
      ...(targets ? [verdict(row)] : []),
    ]),
  };
}

function verdict({ target }: Row): string {
  return target === undefined ? '' : `${target.text}: ${target.met ? 'met' : 'missed'}`;
}

export function toText(table: Table): string {
  const { head, body } = lines(table);
  const text = new CliTable({ head: [...head], style: { head: [], border: [] } });
  text.push(...body);
  return text.toString();
}

function toMarkdown(table: Table): string {
  const { head, body } = lines(table);
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...body.map(line)].join('\n');
}

/**
 * Replaces the tables between their markers in the page that has the marker of the machine.
 * @param place marker of the machine that they are from @throws Error where a marker is missing
 */
export async function writeTables(tables: readonly Table[], place = 'machine'): Promise<void> {
  const facts = machine().map((fact) => `- ${fact}`);
  const path = PAGES.find((one) => readFileSync(one, 'utf8').includes(`<!-- bench:${place} -->`));
  if (path === undefined) throw new Error(`no page of docs has a place for ${place}`);
  let page = replaced(readFileSync(path, 'utf8'), place, facts.join('\n'));
  for (const table of tables) page = replaced(page, table.name, toMarkdown(table));
  const style = await resolveConfig(path);
  writeFileSync(path, await format(page, { ...style, filepath: path }));
}

function replaced(page: string, name: string, text: string): string {
  const [begin, end] = [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`];
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from) throw new Error(`the page has no place for ${name}`);
  return `${page.slice(0, from + begin.length)}\n\n${text}\n\n${page.slice(to)}`;
}
