/** Its main file loads a counter for each of twenty databases; this is the one of them that needs none. */
declare module 'rate-limiter-flexible/lib/RateLimiterMemory.js' {
  export { RateLimiterMemory as default } from 'rate-limiter-flexible';
}
