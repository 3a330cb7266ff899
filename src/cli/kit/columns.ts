/** Columns for lists of any length: what the table library does takes the square of the rows. */
import { stripVTControlCharacters } from 'node:util';

/** Lines whose cells begin in the same columns. Cells may be coloured. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows)
    for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, widthOf(cell));
  return rows
    .map((row) =>
      row
        .map((cell, at) => cell + ' '.repeat((widths[at] ?? 0) - widthOf(cell)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** What East Asian scripts and pictures take of a terminal's line: two columns. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
const NO_WIDTH = /\p{Mn}|\p{Me}|\p{Cf}/u;

function widthOf(cell: string): number {
  if (/^[\x20-\x7e]*$/.test(cell)) return cell.length;
  let width = 0;
  for (const character of stripVTControlCharacters(cell))
    width += NO_WIDTH.test(character) ? 0 : WIDE.test(character) ? 2 : 1;
  return width;
}
