/**
 * The seed of random tests. The same on each run, so that a change is judged by what it changes; `POSTERN_SEED=random`
 * draws another, and a failure names the one to run again.
 */
const given = process.env['POSTERN_SEED'] ?? '20261129';
export const SEED = given === 'random' ? Date.now() % 1_000_000 : Number(given);
