def log = new File(basedir, 'build.log').text
assert log.contains('properties that stay out: token') && !log.contains('token=secret')
assert log =~ /INNER .*-B.* verify\n/
assert log.count('this build runs in a sandbox already: lima:exec does nothing here') == 1
assert log.count('BUILD SUCCESS') == 5
assert log.contains('typed, so directly in its\n')
return true
