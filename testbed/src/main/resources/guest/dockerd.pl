# Answers just enough of Docker's API on a socket to show that the way to it is open.
use strict;
use warnings;
use IO::Socket::UNIX;
use File::Path qw(make_path);
use File::Basename qw(dirname);

my $path = shift;
make_path(dirname($path));
unlink $path;
my $server = IO::Socket::UNIX->new(Local => $path, Listen => 16) or die "$path: $!";
$SIG{CHLD} = 'IGNORE';
while (my $client = $server->accept) {
    next if fork;
    my $request = <$client> // '';
    while (my $line = <$client>) { last if $line =~ /^\r?$/ }
    my $body =
        $request =~ m{/_ping}              ? 'OK'
      : $request =~ m{/version}            ? '{"Version":"0.0.0","ApiVersion":"1.41","Os":"linux","Arch":"amd64"}'
      : $request =~ m{/info}               ? '{"ServerVersion":"0.0.0","Name":"stand-in","Containers":0}'
      : $request =~ m{/(containers|images)/json} ? '[]'
      :                                      '{"message":"not in the stand-in"}';
    my $status = $body =~ /not in the stand-in/ ? '404 Not Found' : '200 OK';
    my $type = $body eq 'OK' ? 'text/plain' : 'application/json';
    print $client "HTTP/1.1 $status\r\nApi-Version: 1.41\r\nContent-Type: $type\r\nContent-Length: "
      . length($body) . "\r\nConnection: close\r\n\r\n$body";
    exit;
}
