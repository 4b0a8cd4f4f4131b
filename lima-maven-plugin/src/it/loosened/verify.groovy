def log = new File(basedir, 'build.log').text
assert log.contains('lima.env in a POM does not count')
assert log.contains('lima.hostRepository in a POM does not count')
assert !log.contains('INNER')
return true
