def log = new File(basedir, 'build.log').text
assert log.contains('lima:exec does nothing here')
assert log.contains('lima:start does nothing here')
assert !log.contains('EXACT')
assert log.contains('directly in elsewhere')
assert !log.contains("making 'inside'")
return true
