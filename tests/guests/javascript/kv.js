// Two labels of one interface: read through the cache, fill it from the store.
import * as cache from "labels:kv/cache@0.1.0";
import * as store from "labels:kv/store@0.1.0";

const text = (bytes) => String.fromCharCode(...bytes);

export function run(key) {
  const cached = cache.open("session-data");
  const hit = cached.get(key);
  if (hit !== undefined && hit !== null) return "hit:" + text(hit);
  const stored = store.open("orders");
  const value = stored.get(key);
  if (value === undefined || value === null) return "none";
  cached.set(key, value);
  return "miss:" + text(value);
}
