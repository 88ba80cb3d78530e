@0xbf5147cbbecf40c1;

interface Device {
  digest @0 (data :Data) -> (digest :Text);
}
