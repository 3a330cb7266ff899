/** A state file on standard output, piece by piece, each once the last one was written. */

/**
 * @param head a comment line, for YAML alone
 * @returns what writes the next piece
 */
export function stateWriter(
  format: 'yaml' | 'json',
  head = '',
): (piece: Uint8Array) => Promise<void> {
  let isFirst = true;
  return async (piece) => {
    if (isFirst && format === 'yaml') {
      // A state that is too large to be read as YAML comes as JSON, in which there are no comments.
      if (piece[0] !== BRACE) process.stdout.write(head);
      else
        process.stderr.write(
          'note: the state is larger than what is read as YAML: it is written as JSON, which apply reads too\n',
        );
    }
    isFirst = false;
    await new Promise<void>((done) => process.stdout.write(piece, () => done()));
  };
}

const BRACE = 0x7b;
